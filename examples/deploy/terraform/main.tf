# A partner's secret in AWS Secrets Manager, rotated by a Lambda function, and the least rights for
# the service that reads it: PARTNER_AUTH_SOURCE is the output `source`.

variable "rotation_function" {
  description = "Name of the Lambda function that has the partner issue a new secret"
  type        = string
}

variable "reader_role" {
  description = "Name of the IAM role that the service runs as"
  type        = string
}

variable "first_key" {
  description = "The secret that the partner issued first"
  type        = string
  sensitive   = true
  ephemeral   = true
}

data "aws_lambda_function" "rotation" {
  function_name = var.rotation_function
}

resource "aws_secretsmanager_secret" "partner" {
  name                    = "prod/partner"
  recovery_window_in_days = 7
}

# Write-only, so that the secret stands in no plan and no state (Terraform 1.11). Written once: the
# later versions are the function's.
resource "aws_secretsmanager_secret_version" "first" {
  secret_id                = aws_secretsmanager_secret.partner.id
  secret_string_wo         = jsonencode({ client_id = "acme", secret_key = var.first_key })
  secret_string_wo_version = 1
}

resource "aws_lambda_permission" "rotation" {
  statement_id  = "SecretsManager"
  action        = "lambda:InvokeFunction"
  function_name = var.rotation_function
  principal     = "secretsmanager.amazonaws.com"
  source_arn    = aws_secretsmanager_secret.partner.arn
}

resource "aws_secretsmanager_secret_rotation" "partner" {
  secret_id           = aws_secretsmanager_secret.partner.id
  rotation_lambda_arn = data.aws_lambda_function.rotation.arn
  rotate_immediately  = false # true if nothing is said

  rotation_rules {
    automatically_after_days = 30
  }

  depends_on = [aws_lambda_permission.rotation, aws_secretsmanager_secret_version.first]
}

data "aws_iam_policy_document" "reader" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.partner.arn]
  }
}

resource "aws_iam_role_policy" "reader" {
  name   = "read-partner-secret"
  role   = var.reader_role
  policy = data.aws_iam_policy_document.reader.json
}

output "source" {
  value = aws_secretsmanager_secret.partner.arn
}
